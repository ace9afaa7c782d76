// Numbers as people read them.

export function milliseconds(value) {
  if (value === undefined || value === null) return "–";
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function count(value) {
  return value === undefined ? "–" : value.toLocaleString("en").replaceAll(",", "\u202f");
}

export function percent(part) {
  return `${Math.round(100 * part)}\u202f%`;
}

// Texts are only written when they change: the browser has less to do, a screen reader too.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
