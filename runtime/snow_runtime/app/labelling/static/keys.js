// What each key does, and the table that says so.

export const KEYS = [
  [["1", "…", "9", "0"], "Give the label with that number to what is chosen"],
  [["Space"], "Pass over, without a label"],
  [["←", "→", "↑", "↓"], "Go to another picture; Home and End to the ends"],
  [["Shift", "arrow"], "Choose a range; Shift and a click, too"],
  [["Ctrl", "click"], "Choose one more, or one less"],
  [["a"], "Accept what is suggested for what is chosen"],
  [["u", "Ctrl-Z"], "Take back your last labels; never somebody else's"],
  [["Enter"], "Show a picture in large; open a group"],
  [["r"], "Sort anew, by what is known now"],
  [["Esc"], "Close, or choose one picture alone"],
  [["?"], "Show these keys"],
];

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

// Calls one of the actions for each key; what somebody types into a field stays there.
export function listen(actions, blocked) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.target.closest("input:not([type=range]), textarea, select")) return;
    if (blocked() && event.key !== "?") return;
    const act = chosen(event, actions);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function chosen({ key, ctrlKey, metaKey, shiftKey, repeat, target }, actions) {
  if (ctrlKey || metaKey) return key.toLowerCase() === "z" && !shiftKey ? actions.undo : null;
  if (MOVES.has(key)) return () => actions.move(key, shiftKey);
  if (repeat) return key === " " ? () => {} : null; // a key held down labels once
  const pressed = target.closest("button, summary, a");
  if (pressed && (key === " " || key === "Enter")) return null; // presses it
  if (/^\d$/.test(key)) return () => actions.digit(key === "0" ? 9 : Number(key) - 1);
  return {
    " ": actions.skip,
    a: actions.accept,
    u: actions.undo,
    r: actions.again,
    Enter: actions.enlarge,
    Escape: actions.escape,
    "?": actions.help,
  }[key];
}
