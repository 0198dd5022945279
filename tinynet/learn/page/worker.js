// tinynet in the browser: Pyodide and NumPy, from the folder of this file. `python -m docs.lab` makes the folder.
importScripts("pyodide.js");

const started = (async () => {
  const python = await loadPyodide({ indexURL: "./" });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  const library = await (await fetch("tinynet.zip")).arrayBuffer();
  python.unpackArchive(library, "zip", { extractDir: python.runPython("import site; site.getsitepackages()[0]") });
  return python.pyimport("tinynet.learn.lab");
})();

onmessage = async ({ data: { id, name, values } }) => {
  try {
    const lab = await started, bytes = lab.call_json(name, JSON.stringify(values)), view = bytes.toJs();
    bytes.destroy();
    const answer = view.slice().buffer;
    postMessage({ id, answer }, [answer]);
  } catch (error) { // of Python: a traceback, whose last line of the form "NameError: why" is the reason
    const lines = String(error.message || error).trim().split("\n");
    postMessage({ id, error: lines.findLast(line => /^[\w.]+(Error|Exception): /.test(line)) || lines.at(-1) });
  }
};
