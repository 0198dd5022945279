// A chapter's figure has the place of a widget. Where the site has the lab (`make lab`), a button loads the widget there:
// Python and NumPy come along, about 10 MB.
const root = new URL(document.documentElement.dataset.content_root || "./", location.href);

const place = figure => {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "try", textContent: "Try it: load Python into this page (10 MB)" });
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Loading …";
    const widget = document.createElement("div");
    widget.dataset.widget = figure.dataset.place;
    figure.after(widget);
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("lab/lab.css", root) }));
    try {
      const { start } = await import(new URL("lab/lab.js", root));
      await start(widget.parentNode);
      button.remove();
    } catch (error) { button.textContent = `The lab could not start: ${error.message}`; }
  });
  figure.append(button);
};

const figures = [...document.querySelectorAll("figure[data-place]")];
if (figures.length && location.protocol !== "file:")
  fetch(new URL("lab/lab.js", root), { method: "HEAD" }).then(answer => { if (answer.ok) figures.forEach(place); }, () => {});
