// The figures of the whole, and the switches of the tasks.

import { drifted } from "./drift.js";
import { count, duration, mark, milliseconds, write } from "./format.js";

const PROBLEMS = {
  collect_dropped: "frames not collected",
  errors: "frames left out by errors",
  mqtt_lost: "answers lost on the way to MQTT",
  mqtt_refused: "answers refused by the MQTT broker",
  recording_lost: "frames not recorded",
  stdout_lost: "answers that nobody read",
};

// What is counted too, and is none.
const USUAL = new Set(["collected", "drift_changes", "state_changes", "unasked"]);

export function showFigures(stats) {
  const figure = (name) => document.querySelector(`[data-figure="${name}"]`);
  write(figure("frames_per_s"), stats.frames_per_s.toFixed(1));
  write(figure("up"), duration(stats.up_s));
  for (const kind of ["latency_ms", "age_ms"]) {
    for (const part of ["0.5", "0.9", "0.99"]) {
      write(figure(`${kind}.${part}`), milliseconds(stats[kind][part]));
    }
  }
  const problems = Object.entries(stats.counts)
    .filter(([name, number]) => number > 0 && !USUAL.has(name) && !name.startsWith("view "))
    .map(([name, number]) => `${count(number)} ${PROBLEMS[name] ?? name.replaceAll("_", " ")}`);
  problems.push(...drifted(stats).map(({ camera, question }) => `${question} of ${camera} has drifted`));
  write(figure("problems"), problems.join(", ") || "None");
  mark(figure("problems"), "data-tone", problems.length ? "bad" : "ok");
}

export class Switches {
  constructor(element, fail) {
    this.element = element;
    this.fail = fail;
    this.buttons = new Map();
  }

  show(tasks) {
    const names = tasks.map(({ name }) => name);
    for (const [name, button] of this.buttons) {
      if (!names.includes(name)) {
        button.remove();
        this.buttons.delete(name);
      }
    }
    tasks.forEach(({ name, on }, place) => {
      if (!this.buttons.has(name)) this.buttons.set(name, this.#make(name));
      const button = this.buttons.get(name);
      if (this.element.children[place] !== button) {
        this.element.insertBefore(button, this.element.children[place] ?? null);
      }
      if (!button.ariaBusy || button.ariaBusy === "false") mark(button, "aria-checked", String(on));
    });
  }

  #make(name) {
    const button = document.createElement("button");
    const words = document.createElement("span");
    words.textContent = name;
    button.append(document.createElement("i"), words);
    button.type = "button";
    button.title = name;
    mark(button, "role", "switch");
    mark(button, "aria-describedby", "tasks-hint");
    button.addEventListener("click", () => this.#switch(button, name));
    return button;
  }

  async #switch(button, name) {
    if (button.ariaBusy === "true") return;
    const on = button.getAttribute("aria-checked") !== "true";
    mark(button, "aria-busy", "true");
    mark(button, "aria-checked", String(on));
    let why = "";
    try {
      const response = await fetch(`tasks/${encodeURIComponent(name)}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ on }),
      });
      const told = response.headers.get("Content-Type")?.startsWith("text/plain");
      if (!response.ok && told) why = ` ${(await response.text()).trim()}`;
      if (!response.ok) throw new Error(`refused with status ${response.status}`);
    } catch {
      mark(button, "aria-checked", String(!on));
      this.fail(`${name} could not be switched ${on ? "on" : "off"}.${why}`);
    } finally {
      mark(button, "aria-busy", "false");
    }
  }
}
