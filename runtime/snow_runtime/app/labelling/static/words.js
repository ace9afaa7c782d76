// Numbers, labels and their colours, as people read them.

const COLOURS = ["#1b6b47", "#8a3b12", "#2a5db0", "#7a3e9d", "#8a6a00", "#a3264f", "#0b6f7c", "#55606e"];

export const percent = (part) => `${Math.round(100 * part)}\u202f%`;
export const count = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

// One label, or several that are right together; null is a picture passed over.
export function labelText(label) {
  if (label === null) return "skipped";
  if (Array.isArray(label)) return label.join(", ") || "none";
  return label;
}

export function colour(labels, label) {
  const first = Array.isArray(label) ? label[0] : label;
  const place = labels.indexOf(first);
  return place < 0 ? "#55606e" : COLOURS[place % COLOURS.length];
}

export function when(seconds) {
  const shown = { dateStyle: "medium", timeStyle: "medium" };
  return new Intl.DateTimeFormat(undefined, shown).format(new Date(1000 * seconds));
}

export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

// Texts are only written when they change: the browser has less to do, a screen reader too.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let passing = 0;

export function notice(text, tone = "ok", ms = 6000) {
  const shown = document.getElementById("notice");
  clearTimeout(passing);
  shown.dataset.tone = tone;
  shown.hidden = !text;
  write(shown, text);
  write(document.getElementById("spoken"), text);
  if (text) passing = setTimeout(() => (shown.hidden = true), ms);
}
