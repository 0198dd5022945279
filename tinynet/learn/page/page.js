// The page of the lab: all widgets, at once.
import { lab, start } from "./lab.js";

const said = ({ server, browser }) => `Median times on a machine with two processors, by the server and in the browser: ` + Object.keys(server)
  .map(name => `${name} ${server[name].toLocaleString("en")} and ${browser[name].toLocaleString("en")} ms`).join("; ") + ".";
const standing = document.getElementById("standing");
start(document, location.hash.slice(1)).then(
  () => { standing.textContent = `tinynet ${lab.about.version}: an LSTM-CNN of ${lab.about.parameters.toLocaleString("en")} parameters reads digits row by row.`;
    document.getElementById("times").textContent = said(lab.about.times); },
  error => { standing.textContent = `The lab could not start: ${error.message}`; standing.className = "wrong"; });
