// The models of SETTINGS.md: what has become of each, what it takes and how it fares; buttons that load and unload.

import { ago, byId, bytes, call, complaint, duration, facts, fill, gauge, make, meter, percent, post, sentence } from "./parts.js";

const WORDS = { absent: "not loaded", waiting: "waits for memory" };
const UNDER_WAY = { waiting: "Loading …", loading: "Loading …", unloading: "Unloading …" };
const rows = new Map();

export const inWords = (category) => category.replaceAll("_", " ");

/** Rows of the table that share a model, as one: categories with the same model in the same precision are loaded once. */
function byModel(models) {
  const found = new Map();
  for (const model of models) {
    const key = `${model.model} ${model.precision}`;
    const known = found.get(key) || { ...model, key, categories: [], stay_loaded: false };
    known.categories.push(model.category);
    known.stay_loaded ||= model.stay_loaded;
    found.set(key, known);
  }
  return [...found.values()];
}

/** What a model was asked, by whichever way. */
function usage(model, stats) {
  const tally = stats.models[model.model];
  if (!tally || !(tally.count || tally.running)) return null;
  const within = (share) => (tally.latency[share] == null ? "–" : duration(tally.latency[share] / 1000)), rate = tally.tokens_per_s;
  return {
    failing: tally.failing,
    hasFailed: tally.errors > 0,
    figures: [["Calls", tally.count.toLocaleString() + (tally.running ? `, ${tally.running} now` : "")],
      ["Failed", tally.success_rate == null ? "–" : percent(1 - tally.success_rate)],
      ["Tokens/s", rate ? rate.toFixed(rate < 10 ? 1 : 0) : "–"],
      ["p50", within("p50_ms")], ["p95", within("p95_ms")],
      ["Last used", model.last_used_unix_s ? ago(model.last_used_unix_s) : "–"]],
  };
}

/** What memory there is for it: on a card where it runs on one, of the machine otherwise. */
function freeBytes(model, node) {
  const reading = (node && node.reading) || {};
  return /^(cuda|rocm|hip|mps)/.test(model.device) && reading.free_vram_bytes != null ? reading.free_vram_bytes : reading.free_memory_bytes;
}

function memory(model, node) {
  const free = freeBytes(model, node), isLoaded = model.state === "loaded";
  const takes = isLoaded ? model.memory_bytes : model.memory_bytes || model.estimated_bytes || model.expected_bytes;
  if (!takes || !free) return [];
  if (isLoaded) return gauge("Memory", `${bytes(takes)}, ${bytes(free)} free beside it`, takes / (takes + free));
  const over = takes > node.memory_bytes && takes > free ? "; the machine has less" : takes > free ? "; others have to give way" : "";
  return gauge("Memory", `takes about ${bytes(takes)} of ${bytes(free)} free${over}`, takes / free, over ? "over" : "expected");
}

/** How far loading is, going by how long it took the last time. */
function progress(model) {
  if (model.state !== "loading" && model.state !== "waiting") return [];
  const seconds = Math.max(0, Date.now() / 1000 - model.since_unix_s);
  if (model.state === "waiting") return [make("p", { className: "small", textContent: `Waits for ${duration(seconds)} …` })];
  const before = model.load_s ? `; the last time it took ${duration(model.load_s)}` : "";
  return [make("p", { className: "small", textContent: `Loading for ${duration(seconds)}${before}` }),
    model.load_s ? meter(Math.min(seconds / model.load_s, 0.97)) : meter(null, "going")];
}

const figures = (used) => make("dl", { className: "figures" }, ...used.figures.map(([name, value]) => make("div", {},
  make("dt", { textContent: name }), make("dd", { className: name === "Failed" && used.hasFailed ? "failed" : "", textContent: value }))));

function details(model) {
  const computed = model.computed_precision || "";
  const shown = [["Technical name", make("code", { textContent: model.model })],
    ["Runs by", [model.backend, model.device && `on ${model.device}`].filter(Boolean).join(" ")],
    ["Precision", computed && computed !== model.precision ? `${computed}; the table says ${model.precision}` : computed],
    ["Context", model.context_tokens ? `${model.context_tokens.toLocaleString()} tokens` : ""],
    ["Loaded in", model.load_s == null ? "" : duration(model.load_s)],
    ["Last error", model.last_error === model.reason ? "" : model.last_error],
    ...model.notes.map((note) => ["Note", note])];
  return facts(shown.filter(([, value]) => value));
}

class ModelRow {
  constructor(model) {
    this.button = make("button", { type: "button" });
    this.button.addEventListener("click", () => this.press());
    this.state = make("span", { className: "state" });
    this.title = make("h3");
    this.uses = make("span", { className: "for soft small" });
    this.body = make("div", { className: "model-body" });
    this.details = make("div");
    this.more = make("details", {}, make("summary", { textContent: "Details" }), this.details);
    this.element = make("li", { className: "model" },
      make("div", { className: "model-head" }, this.state, this.title, this.button, this.uses), this.body, this.more);
    this.refused = "";
  }

  show(model, stats, node) {
    this.model = model;
    const { state } = model, ill = model.healthy === false ? ", does not answer" : "";
    if (this.told && this.told !== state) byId("models-told").textContent = `${model.title}: ${WORDS[state] || state}`;
    if (state === "loaded") this.refused = "";
    this.told = state;
    this.state.className = `state ${ill ? "failed" : state}`;
    this.state.textContent = (WORDS[state] || state) + ill;
    this.title.textContent = model.title;
    this.uses.textContent = [model.categories.map(inWords).join(", "), model.stay_loaded ? "stays loaded" : ""].filter(Boolean).join(" · ");
    const doing = UNDER_WAY[state] || (this.asked && `${this.asked}ing …`), verb = state === "loaded" ? "Unload" : "Load";
    this.button.textContent = doing || verb;
    this.button.setAttribute("aria-label", `${doing || verb}: ${model.title}`);
    this.button.setAttribute("aria-disabled", doing ? "true" : "false"); // not `disabled`: that would take the focus away
    const used = usage(model, stats), wrong = new Set([state === "error" ? model.reason : "", this.refused, used?.failing].filter(Boolean));
    fill(this.body, ...[...wrong].map(complaint), ...progress(model), ...memory(model, node), ...(used ? [figures(used)] : []));
    fill(this.details, details(model));
  }

  async press() {
    if (this.button.getAttribute("aria-disabled") === "true") return;
    const verb = this.model.state === "loaded" ? "unload" : "load";
    this.asked = verb === "load" ? "Load" : "Unload";
    this.refused = "";
    const answered = call(`/models/${verb}`, post({ model: this.model.category }));
    document.dispatchEvent(new Event("changed"));
    try { await answered; } catch (error) { this.refused = sentence(error); }
    this.asked = "";
    document.dispatchEvent(new Event("changed"));
  }
}

function nothing() {
  return make("li", { className: "pad" },
    make("p", { textContent: "No models yet. SETTINGS.md in the data folder says which model does what; a page to start from is printed by:" }),
    make("code", { textContent: "conductor settings validate --example" }));
}

/** Say on the way to the models how many are in memory, or fail. */
export function showBadge(models) {
  const all = byModel(models), failed = all.filter((model) => model.state === "error").length;
  const loaded = all.filter((model) => model.state === "loaded").length;
  byId("models-badge").className = failed ? "failed" : "";
  byId("models-badge").textContent = failed ? `${failed} failed` : loaded ? `${loaded} loaded` : "";
}

/** Show the table; what was opened or has the focus stays so. */
export function showModels(models, stats, node) {
  const list = byId("models"), all = byModel(models);
  byId("with-models").hidden = !all.length;
  if (!all.length) { list.replaceChildren(nothing()); return; }
  const shown = all.map((model) => {
    const row = rows.get(model.key) || new ModelRow();
    rows.set(model.key, row);
    row.show(model, stats, node);
    return row.element;
  });
  if (shown.length !== list.children.length || shown.some((row, place) => list.children[place] !== row)) list.replaceChildren(...shown);
}
