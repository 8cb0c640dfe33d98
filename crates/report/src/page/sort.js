// A click on a heading sorts the table by that column; a second click turns the order round.
document.querySelectorAll("th button").forEach((button) => {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    const numeric = head.dataset.kind === "number";
    const falling = head.getAttribute("aria-sort") === "ascending";
    const body = head.closest("table").tBodies[0];
    const key = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent;
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      // What is missing stays at the end, whatever the order.
      if (x === null || y === null) return (x === null) - (y === null);
      const order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return falling ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
    head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  });
});
