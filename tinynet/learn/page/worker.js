// tinynet in the browser: Pyodide and NumPy, from the folder of this file. See `python -m docs.lab`.
importScripts("pyodide.js");

const started = (async () => {
  const python = await loadPyodide({ indexURL: "./" });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  const wheel = await (await fetch("tinynet.whl")).arrayBuffer();
  python.unpackArchive(wheel, "zip", { extractDir: python.runPython("import site; site.getsitepackages()[0]") });
  return python.pyimport("tinynet.learn.lab");
})();

onmessage = async ({ data: { id, name, values } }) => {
  try {
    const lab = await started, bytes = lab.call_json(name, JSON.stringify(values)), view = bytes.toJs();
    bytes.destroy();
    const answer = view.slice().buffer;
    postMessage({ id, answer }, [answer]);
  } catch (error) { postMessage({ id, error: String(error.message || error).trim().split("\n").at(-1) }); }
};
