// Sorting and searching. The reader's choices are kept here by table, and applied to every update.
const chosen = new Map(); // table id -> {column, direction, query}

const choice = (id) => {
  if (!chosen.has(id)) chosen.set(id, { column: -1, direction: 1, query: "" });
  return chosen.get(id);
};

export function onSort(button) {
  const header = button.closest("th");
  const state = choice(header.closest("table").id);
  state.direction = state.column === header.cellIndex ? -state.direction : 1;
  state.column = header.cellIndex;
}

export function onInput(input) {
  choice(input.dataset.search).query = input.value.trim().toLowerCase();
}

export function arrange(page) {
  for (const table of page.querySelectorAll("table[data-sortable]")) {
    const state = choice(table.id);
    for (const header of table.tHead.rows[0].cells) {
      addButton(page, header);
      if (header.cellIndex !== state.column) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
    }
    const body = table.tBodies[0];
    if (state.column >= 0) sort(body, state);
    let matching = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      const id = state.query.length < 6 ? row.dataset.key.toLowerCase() : ""; // has any short word
      row.hidden = !text.replace(id, "").includes(state.query);
      matching += !row.hidden;
    }
    const matches = page.querySelector(`[data-matches="${table.id}"]`);
    const text = state.query ? `${matching} of ${body.rows.length}` : "";
    if (matches && matches.textContent !== text) matches.textContent = text;
  }
}

// A column's name becomes a button: keyboards reach it, and screen readers announce it.
function addButton(page, header) {
  if (header.firstElementChild?.tagName === "BUTTON") return;
  const button = page.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  header.append(button);
}

function sort(body, { column, direction }) {
  const keyed = [...body.rows].map((row) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent;
    return { row, text, number: text === "" ? NaN : Number(text) };
  });
  keyed.sort((a, b) => {
    if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1; // empty cells come last
    const numbers = Number.isFinite(a.number) && Number.isFinite(b.number);
    return direction * (numbers ? a.number - b.number : a.text.localeCompare(b.text));
  });
  if (keyed.some(({ row }, index) => row !== body.rows[index])) body.append(...keyed.map(({ row }) => row));
}
