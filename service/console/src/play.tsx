import "./style.css";
import "./play/play.css";
import { render } from "preact";
import { App } from "./play/App";

render(<App />, document.getElementById("app")!);
