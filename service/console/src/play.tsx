import "./style.css";
import { render } from "preact";

render(<main><h1>watch, try, learn</h1></main>, document.getElementById("app")!);
