"use strict";
// Draws the charts from the specifications in the page, and makes its tables sortable. Text from a trace
// reaches the page as text only: nothing here makes HTML of a string.
(() => {
  const drawn = new Map();

  // Charts ----------------------------------------------------------------------------------------------

  const tip = document.getElementById("tip");

  function showTip(_, event, item, value) {
    if (value === null || value === undefined || value === "") {
      tip.hidden = true;
      return;
    }
    const told = Object.entries(value).filter(([, text]) => text !== "" && text !== null);
    tip.textContent = told.map(([name, text]) => `${name}: ${text}`).join("\n");
    tip.hidden = false;
    const x = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8));
    const below = event.clientY + 16;
    const y = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : below;
    tip.style.left = `${x}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  }

  function compiled(spec, width, isNarrow) {
    const sized = structuredClone(spec);
    for (const part of sized.vconcat ?? [sized]) part.width = width;
    const config = {
      background: null,
      font: getComputedStyle(document.body).fontFamily,
      view: { stroke: null },
      axis: { labelLimit: isNarrow ? (spec.vconcat ? 80 : 110) : 170, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      legend: { labelFontSize: 12, titleFontSize: 12, columns: isNarrow ? 2 : 4, labelLimit: isNarrow ? 100 : 200 },
    };
    return charts.compile(sized, { config }).spec;
  }

  async function viewOf(place, spec, width, isNarrow) {
    const runtime = charts.parse(compiled(spec, width, isNarrow), null, { ast: true });
    const view = new charts.View(runtime, {
      expr: charts.expressionInterpreter, renderer: "svg", container: place, hover: true, tooltip: showTip,
    });
    return view.runAsync();
  }

  const MOST_ATTEMPTS = 6;
  const LEAST_WIDTH = 60;

  async function draw(place) {
    const room = place.clientWidth;
    if (room === 0 || drawn.get(place)?.room === room) return;
    const former = drawn.get(place);
    drawn.set(place, { room, view: former?.view });
    const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const isNarrow = room < 520;
    let width = Math.max(80, room - (isNarrow ? 130 : 200));
    // Only a drawing tells how much room labels and legend take beside the marks; texts that stand out of the
    // marks' area move with its width, so it takes some attempts.
    for (let attempt = 1; ; attempt += 1) {
      former?.view?.finalize();
      drawn.get(place).view?.finalize();
      place.replaceChildren();
      const view = await viewOf(place, spec, width, isNarrow);
      drawn.get(place).view = view;
      const spare = Math.floor(room - Number(place.querySelector("svg").getAttribute("width")));
      const fits = spare >= 0 && (attempt > 1 || spare < 3);
      if (fits || attempt === MOST_ATTEMPTS || width + spare < LEAST_WIDTH) break;
      width += spare - 1;
    }
    label(place);
  }

  function label(place) {
    const svg = place.querySelector("svg");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", place.dataset.label);
    for (const part of svg.querySelectorAll("[role], [aria-label], [tabindex]")) {
      for (const name of ["role", "aria-label", "aria-roledescription", "tabindex"]) part.removeAttribute(name);
    }
  }

  const places = [...document.querySelectorAll("[data-chart]")];
  const fail = (place) => (error) => {
    place.textContent = `This chart could not be drawn: ${error.message}`;
    place.classList.add("failed");
    console.error(error);
  };
  const drawAll = () => Promise.all(places.map((place) => draw(place).catch(fail(place))));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) draw(entry.target).catch(fail(entry.target));
      }
    },
    { rootMargin: "600px" },
  );
  for (const place of places) seen.observe(place);
  let resizing = 0;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      for (const place of places) if (drawn.has(place)) draw(place).catch(fail(place));
    }, 150);
  });
  addEventListener("beforeprint", drawAll);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // Zoom of the timeline by buttons: for keys and fingers ------------------------------------------------

  const zooms = {
    in: ([low, high]) => [low + (high - low) / 4, high - (high - low) / 4],
    out: ([low, high]) => [low - (high - low) / 2, high + (high - low) / 2],
    left: ([low, high]) => [low - (high - low) / 3, high - (high - low) / 3],
    right: ([low, high]) => [low + (high - low) / 3, high + (high - low) / 3],
    all: () => null,
  };

  async function zoom(place, how) {
    await draw(place);
    const view = drawn.get(place).view;
    const whole = view.scale("concat_0_x").domain();
    const range = zooms[how](view.signal("zoom")?.start ?? whole);
    const chosen = [];
    if (range !== null && range[1] - range[0] < whole[1]) {
      const low = Math.max(0, Math.min(range[0], whole[1] - (range[1] - range[0])));
      // As a drag over the strip would choose it, but of no chart: the strip then shows no frame.
      const fields = [{ field: "start", channel: "x", type: "R" }];
      chosen.push({ unit: "buttons", fields, values: [[low, low + range[1] - range[0]]] });
    }
    await view.data("zoom_store", chosen).runAsync();
    label(place);
  }

  for (const button of document.querySelectorAll("[data-zoom]")) {
    const place = button.closest("figure").querySelector("[data-chart]");
    button.addEventListener("click", () => zoom(place, button.dataset.zoom).catch(fail(place)));
  }

  // Tables ----------------------------------------------------------------------------------------------

  function valueOf(row, column) {
    const cell = row.cells[column];
    const shown = cell.firstChild?.textContent ?? "";
    return cell.dataset.value === undefined ? shown.toLowerCase() : Number(cell.dataset.value || -1);
  }

  function sort(table, header) {
    const column = header.cellIndex;
    const former = header.getAttribute("aria-sort");
    const isNumber = header.classList.contains("number");
    const descends = former === null ? isNumber : former === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descends ? "descending" : "ascending");
    const sign = descends ? -1 : 1;
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
    rows.sort(([one], [other]) => (one < other ? -sign : one > other ? sign : 0));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  function filter(table, text, count) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => content.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      header.querySelector("button")?.addEventListener("click", () => sort(table, header));
    }
    const box = table.closest("section").querySelector(".filter");
    const count = box.querySelector("output");
    box.querySelector("input").addEventListener("input", (event) => filter(table, event.target.value, count));
    filter(table, "", count);
  }
})();
