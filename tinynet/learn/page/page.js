// The page of the lab: all widgets, at once.
import { lab, start } from "./lab.js";

const standing = document.getElementById("standing");
start(document, location.hash.slice(1)).then(
  () => { standing.textContent = `tinynet ${lab.about.version}: an LSTM-CNN of ${lab.about.parameters.toLocaleString("en")} parameters reads digits row by row.`; },
  error => { standing.textContent = `The lab could not start: ${error.message}`; standing.className = "wrong"; });
