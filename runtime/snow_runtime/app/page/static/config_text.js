// A view and a question as a configuration file of `snow-deploy run` has them.

const QUESTION = /^[\p{L}\p{N}_-]+$/u; // as the reader of the file wants it
const BARE = /^[A-Za-z0-9_-]+$/; // keys of TOML that need no quotes
const WHOLE = "whole"; // how the view is called that is the whole picture

// Cleans a name that was typed: no spaces around it, nothing that is half a character.
export function nameOf(typed) {
  return typed.replace(/\p{Cs}/gu, "").normalize("NFC").trim();
}

// wanted: { camera, view, area, rotate, task, question }; area: { box } or { polygon }, in shares of
// the picture; task and question are empty where nothing is to be asked.
export function configText({ camera, view, area, rotate, task, question }) {
  const [kind, numbers] = Object.entries(area)[0];
  const lines = [`[cameras.${key(camera)}.views.${key(view)}]`, `${kind} = ${list(numbers)}`];
  if (rotate) lines.push(`rotate = ${rotate}`);
  if (task) {
    lines.push("", `[questions.${key(question)}]`, `task = ${text(task)}`);
    lines.push(`camera = ${text(camera)}`, `view = ${text(view)}`);
  }
  return `${lines.join("\n")}\n`;
}

// Says what keeps it from being a configuration, or nothing. setup: what is configured already.
export function faultOf({ camera, view, area, task, question }, setup) {
  const views = Object.hasOwn(setup.views, camera) ? setup.views[camera] : [];
  if (!area) return "Draw the view on the picture.";
  if (!view) return "Give the view a name.";
  if (view === WHOLE) return `The whole picture is called ${WHOLE}; give the view another name.`;
  if (views.some(({ name }) => name === view)) {
    return `${camera} has a view ${view} already; give another name.`;
  }
  if (!task) return "";
  if (!QUESTION.test(question)) {
    return "Give the question a name of letters, digits, _ and - alone.";
  }
  if (setup.chosen && setup.questions.some(({ name }) => name === question)) {
    return `There is a question ${question} already; give another name.`;
  }
  return "";
}

function key(name) {
  return BARE.test(name) ? name : text(name);
}

// JSON's escapes are TOML's too; TOML also wants U+007F escaped.
function text(value) {
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

function list(numbers) {
  return `[${numbers.map((each) => (Array.isArray(each) ? list(each) : String(each))).join(", ")}]`;
}
