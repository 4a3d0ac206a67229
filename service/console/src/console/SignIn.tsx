import { useState } from "preact/hooks";
import { useAction } from "../parts/load";
import { signIn } from "../parts/session";
import { Refused } from "../parts/ui";

/** Asks for an API key. It goes to the server once and stays in a cookie that this page cannot read. */
export function SignIn({ signedIn }: { readonly signedIn: () => void }) {
  const [key, setKey] = useState("");
  const { run, busy, problem } = useAction();
  return (
    <main class="alone">
      <h1>Sign in</h1>
      <p class="quiet">This server asks for an API key. It is kept in a cookie of this browser until you sign out or close it, never in an address.</p>
      <form onSubmit={(event) => { event.preventDefault(); void run(async () => { await signIn(key.trim()); setKey(""); signedIn(); }); }}>
        <label for="key">API key</label>
        <input id="key" type="password" autocomplete="off" spellcheck={false} placeholder="wtl_…" value={key} required autofocus
          onInput={(event) => setKey(event.currentTarget.value)} />
        <button type="submit" class="solid" disabled={busy || key.trim() === ""}>{busy ? "Signing in…" : "Sign in"}</button>
      </form>
      {problem && <Refused problem={problem} />}
      <p class="quiet">No key yet? On the machine of the server: <code>wtl keys create</code></p>
    </main>
  );
}
