// Where a picture lies within its frame, which may leave bars at two sides of it.

const SVG = "http://www.w3.org/2000/svg";

// Returns { left, top, width, height } in pixels of the page.
export function fit(frame, canvas) {
  const scale = Math.min(frame.clientWidth / canvas.width, frame.clientHeight / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  return {
    left: (frame.clientWidth - width) / 2,
    top: (frame.clientHeight - height) / 2,
    width,
    height,
  };
}

// From shares of the picture to pixels of its frame.
export function place({ left, top, width, height }, [x, y]) {
  return [round(left + x * width), round(top + y * height)];
}

export function corners([left, top, right, bottom]) {
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

export function shape(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// A closed line twice: dark below, so that it is seen on any picture.
export function outline(points, kind) {
  const path = points.map((point) => point.join(" ")).join(" ");
  return [shape("polygon", { points: path, class: `halo ${kind}` }), shape("polygon", { points: path, class: kind })];
}

function round(value) {
  return Math.round(value * 10) / 10;
}
