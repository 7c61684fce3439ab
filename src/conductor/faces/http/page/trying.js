// The form that asks a model: who shall answer, what, and the answer as it is written.

import { byId, complaint, duration, make, post, sentence } from "./parts.js";
import { inWords } from "./models.js";

const WAITING = "Waiting for the first word …";
let offered = "", purposes = new Map(), asking = null;

/** Offer the categories that have an engine; what is chosen stays chosen. */
export function offer(models) {
  const engines = models.filter((model) => model.purpose);
  const now = JSON.stringify(engines.map((model) => [model.category, model.title]));
  purposes = new Map(engines.map((model) => [model.category, model]));
  if (now === offered) return;
  offered = now;
  const chosen = byId("wanted").value;
  byId("wanted").replaceChildren(make("option", { value: "auto", textContent: "auto: Conductor chooses" }),
    ...engines.map((model) => make("option", { value: model.category, textContent: `${inWords(model.category)} (${model.title})` })));
  byId("wanted").value = purposes.has(chosen) ? chosen : "auto";
  explain();
}

function explain() {
  const engine = purposes.get(byId("wanted").value);
  byId("purpose").textContent = engine ? engine.purpose[0].toUpperCase() + engine.purpose.slice(1) : "The request is read, and goes to the category that suits it best.";
  byId("option-names").textContent = !engine ? "Choose a category: each has options of its own."
    : engine.options.length ? `There are: ${engine.options.join(", ")}.` : "This engine has none.";
}

/** Server-sent events of a response, one by one. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: ([^\n]*)\ndata: ([^\n]*)$/) || [];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

function question() {
  const asked = { prompt: byId("prompt").value, category: byId("wanted").value, max_tokens: byId("most").valueAsNumber || null };
  const written = byId("options").value.trim();
  if (!written) return asked;
  let options;
  try { options = JSON.parse(written); } catch (error) { throw new Error(`The options are no JSON: ${error.message}`, { cause: error }); }
  if (options === null || typeof options !== "object" || Array.isArray(options)) throw new Error("The options must be a JSON object, such as {\"target\": \"German\"}.");
  return { ...asked, options };
}

const HEARD = {
  decision(told) { byId("who").textContent = told.why; },
  piece(told) {
    const shown = byId("written"), isAtEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 24;
    shown.append(told.text);
    if (isAtEnd) shown.scrollTop = shown.scrollHeight;
  },
  answer(told, beganMs) {
    if (byId("written").textContent !== told.text) byId("written").textContent = told.text; // checked, and mended where it could be
    byId("notes").replaceChildren(...told.notes.map((note) => make("li", { textContent: note })));
    byId("found").hidden = !Object.keys(told.facts).length;
    byId("facts").textContent = JSON.stringify(told.facts, null, 1);
    const cut = told.finish === "length" ? ", cut off at the most that was allowed" : "", count = told.usage.completion_tokens;
    byId("spent").textContent = `${count.toLocaleString()} ${count === 1 ? "token" : "tokens"} in ${duration((performance.now() - beganMs) / 1000)}${cut}`;
  },
  error(told) { throw new Error(told.detail); },
};

async function ask(signal) {
  const began = performance.now();
  const response = await fetch("/generate/stream", { ...post(question()), signal });
  if (!response.ok) throw new Error((await response.json()).detail);
  let isWhole = false;
  for await (const [name, told] of events(response)) {
    HEARD[name]?.(told, began);
    isWhole ||= name === "answer";
  }
  if (!isWhole) throw new Error("The answer broke off; the server's log says why.");
}

async function submit(event) {
  event.preventDefault();
  if (asking) return;
  asking = new AbortController();
  for (const part of ["who", "written", "failure", "notes", "spent"]) byId(part).replaceChildren();
  byId("answer").hidden = byId("stop").hidden = false;
  byId("found").hidden = true;
  byId("answer").setAttribute("aria-busy", "true"); // read out when it is whole, not word by word
  byId("ask").setAttribute("aria-disabled", "true");
  byId("who").textContent = WAITING;
  try {
    await ask(asking.signal);
  } catch (error) {
    if (byId("who").textContent === WAITING) byId("who").textContent = "";
    if (error.name === "AbortError") byId("spent").textContent = "Stopped.";
    else byId("failure").replaceChildren(complaint(sentence(error)));
  }
  if (document.activeElement === byId("stop")) byId("ask").focus();
  asking = null;
  byId("stop").hidden = true;
  byId("answer").setAttribute("aria-busy", "false");
  byId("ask").setAttribute("aria-disabled", "false");
  document.dispatchEvent(new Event("changed"));
}

byId("try").addEventListener("submit", submit);
byId("wanted").addEventListener("change", explain);
byId("stop").addEventListener("click", () => asking?.abort());
byId("try").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("try").requestSubmit();
});
