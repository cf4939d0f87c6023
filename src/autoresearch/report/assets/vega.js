(() => {
  "use strict";
  const found = JSON.parse(document.getElementById("vega").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // The chart names styles; the palette that suits the page is given when it is drawn.
  async function draw() {
    const config = dark.matches ? found.dark : found.light;
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config };
    const { view } = await vegaEmbed("#staircase", structuredClone(found.staircase), options);
    view.addEventListener("click", (_, item) => {
      if (item && item.datum && Number.isInteger(item.datum.trial)) location.hash = "trial-" + item.datum.trial;
    });
  }
  dark.addEventListener("change", draw);
  draw();
})();
