(() => {
  "use strict";
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("charts"), palettes = read("palettes");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Charts name styles; the palette that suits the page is given when they are drawn.
  async function draw() {
    const config = dark.matches ? palettes.dark : palettes.light;
    for (const [id, spec] of Object.entries(charts)) {
      const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config };
      const { view } = await vegaEmbed("#" + id, structuredClone(spec), options);
      view.addEventListener("click", (_, item) => show(item && item.datum && item.datum.trial));
    }
  }

  function show(trial) {
    const row = Number.isInteger(trial) && document.getElementById("trial-" + trial);
    if (!row) return;
    document.querySelectorAll("tr.shown").forEach((other) => other.classList.remove("shown"));
    row.hidden = false;
    row.classList.add("shown");
    row.scrollIntoView({ block: "center", behavior: "smooth" });
  }

  // The table: a row stays while its status is ticked and its text holds every word.
  const form = document.getElementById("filter");
  const rows = [...document.querySelectorAll("#trials tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  function filter() {
    const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = new Set([...form.querySelectorAll(":checked")].map((box) => box.value));
    let count = 0;
    rows.forEach((row, i) => {
      row.hidden = !(statuses.has(row.dataset.status) && words.every((word) => texts[i].includes(word)));
      count += !row.hidden;
    });
    form.querySelector("output").textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;

  // A link to a diff opens it.
  function open() {
    const target = location.hash.startsWith("#diff-") && document.getElementById(location.hash.slice(1));
    if (target) target.open = true;
  }
  addEventListener("hashchange", open);
  open();

  dark.addEventListener("change", draw);
  draw();
})();
