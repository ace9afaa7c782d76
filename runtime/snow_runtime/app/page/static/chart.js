// One task's confidence over the last minute, as the paths of an SVG of 600 by 100.

const WIDTH = 600;
const HEIGHT = 100;
const GAP_S = 2.5; // a longer silence is shown as one

export const SPAN_S = 60;

// samples: [time, {task: [label, probability]}], the oldest first; now: the time at the right edge.
export function draw(svg, samples, task, now) {
  const [area, turns, line] = svg.children;
  let stroke = "";
  let filled = "";
  let ticks = "";
  let began = null; // where the present run of samples does
  let last = null;
  const close = () => {
    if (began !== null) filled += `L${last.x} ${HEIGHT}L${began} ${HEIGHT}Z`;
    began = null;
  };
  for (const [time, said] of samples) {
    if (!Object.hasOwn(said, task)) {
      close();
      continue;
    }
    const [label, probability] = said[task];
    const x = round(WIDTH * (1 - (now - time) / SPAN_S));
    const y = round(HEIGHT - 4 - (HEIGHT - 8) * probability);
    if (began !== null && time - last.time > GAP_S) close();
    if (began !== null && label !== last.label) ticks += `M${x} 0V${HEIGHT}`;
    stroke += `${began === null ? "M" : "L"}${x} ${y}`;
    filled += `${began === null ? "M" : "L"}${x} ${y}`;
    began ??= x;
    last = { time, label, x };
  }
  close();
  area.setAttribute("d", filled);
  turns.setAttribute("d", ticks);
  line.setAttribute("d", stroke);
}

function round(value) {
  return Math.round(value * 10) / 10;
}
