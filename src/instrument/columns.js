/** Columns of things that are alike. */

const LEAST = 98; // pixels of the width of one

/** As many columns as there is room for, and as few as the same number of rows takes: the last row is not left alone. */
export const columnsOf = (n, width) => {
  const most = Math.max(1, Math.floor(width / LEAST));
  return Math.ceil(n / Math.ceil(n / most));
};

/** Keep the columns of a grid, `--columns` in its styles, at what its width has room for. */
export function keepColumns(root) {
  new ResizeObserver(() => root.style.setProperty("--columns", columnsOf(root.children.length, root.clientWidth)))
    .observe(root);
}
