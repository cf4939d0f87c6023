(() => {
  "use strict";
  const table = document.getElementById("trials");
  const body = table.tBodies[0];
  const rows = [...body.rows];

  // The filter: a row stays while its status is ticked and its text holds every word.
  const form = document.getElementById("filter");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  function filter() {
    const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = new Set([...form.querySelectorAll(":checked")].map((box) => box.value));
    let count = 0;
    for (const row of rows) {
      row.hidden = !(statuses.has(row.dataset.status) && words.every((word) => texts.get(row).includes(word)));
      count += !row.hidden;
    }
    form.querySelector("output").textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;

  // Sorting: a heading becomes a button; numbers sort as numbers, what is missing comes last.
  const heads = [...table.tHead.rows[0].cells];
  function key(row, at, number) {
    const text = row.cells[at].textContent.trim();
    if (!number) return text.toLowerCase() || null;
    const value = parseFloat(text.replaceAll(",", ""));
    return Number.isNaN(value) ? null : value;
  }
  function sort(at) {
    const up = heads[at].getAttribute("aria-sort") !== "ascending";
    const keys = new Map(rows.map((row) => [row, key(row, at, heads[at].classList.contains("n"))]));
    rows.sort((a, b) => {
      const one = keys.get(a), two = keys.get(b);
      if (one === two) return 0;
      if (one === null || two === null) return one === null ? 1 : -1;
      return (one < two ? -1 : 1) * (up ? 1 : -1);
    });
    body.append(...rows);
    heads.forEach((head, i) => head.setAttribute("aria-sort", i === at ? (up ? "ascending" : "descending") : "none"));
  }
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(at));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });

  // The words of a mark, at once under the pointer or the focus.
  const box = document.createElement("div");
  box.className = "tip-box";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true");
  document.body.append(box);
  for (const mark of document.querySelectorAll("a.mark")) {
    const title = mark.querySelector("title");
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  function tip(event) {
    const mark = event.target.closest && event.target.closest("a.mark");
    box.hidden = !mark;
    if (!mark) return;
    box.textContent = mark.getAttribute("aria-label");
    const at = mark.getBoundingClientRect(), width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(at.x + 12, width - box.offsetWidth - 8));
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${at.bottom + 8 + scrollY}px`;
  }
  for (const name of ["pointerover", "focusin"]) document.addEventListener(name, tip);
  document.addEventListener("focusout", () => { box.hidden = true; });

  // A link to a diff opens it; a link to a row that the filter hides shows it.
  function open() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    if (target.tagName === "DETAILS") target.open = true;
    if (target.hidden) {
      target.hidden = false;
      target.scrollIntoView({ block: "center" });
    }
  }
  addEventListener("hashchange", open);
  open();
})();
