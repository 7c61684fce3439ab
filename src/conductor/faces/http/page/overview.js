// The whole page: asks the server every two seconds and hands on what it says; health, machines, ledger, and which view is open.

import { act, byId, bytes, call, duration, facts, fill, gauge, make, percent } from "./parts.js";
import { showActivity } from "./activity.js";
import { showBadge, showModels } from "./models.js";
import { showTasks } from "./tasks.js";
import { offer } from "./trying.js";

const EVERY_MS = 2000;

function nodeCard(node) {
  const reading = node.reading || {};
  const card = make("div", { className: "card pad" }, make("h3", { textContent: node.hostname }),
    make("div", { className: "soft small", textContent: `${node.operating_system}, ${node.architecture}, ${node.logical_cores} cores` }),
    make("div", { className: "chips" }, ...node.devices.map((device) => make("span", { className: "chip", title: `${device.name}, ${device.compute_units} compute units`, textContent: device.type }))));
  if (reading.cpu_utilisation != null) card.append(...gauge("Processor busy", percent(reading.cpu_utilisation), reading.cpu_utilisation));
  if (reading.free_memory_bytes != null) {
    const used = node.memory_bytes - reading.free_memory_bytes;
    card.append(...gauge("Memory used", `${bytes(used)} of ${bytes(node.memory_bytes)}`, used / node.memory_bytes));
  }
  const pairs = [["Performance score", node.performance.score.toFixed(2)]];
  if (reading.cpu_temperature_celsius != null) pairs.unshift(["Temperature", `${reading.cpu_temperature_celsius.toFixed(0)} °C`]);
  card.append(facts(pairs));
  return card;
}

function showHealth(health) {
  byId("health").textContent = health.problems.length ? health.problems.join("; ")
    : `${health.tasks_running} running, ${health.tasks_waiting} waiting, up ${duration(health.uptime_s)}`;
  byId("health").className = health.problems.length ? "bad" : "";
  byId("health").title = `version ${health.version}`;
}

function showLedger(ledger) {
  const field = (name, value) => [make("div", { className: "soft small gap", textContent: name }), make("code", { textContent: value })];
  fill(byId("ledger"),
    make("div", {}, make("strong", { textContent: ledger.size.toLocaleString() }), ` sealed ${ledger.size === 1 ? "entry" : "entries"}`),
    ...field("Root", ledger.root || "none yet"), ...field("Signed by", ledger.public_key));
}

const isOfModels = () => location.hash === "#models";

function showView() {
  const models = isOfModels();
  byId("models-view").hidden = !models;
  byId("tasks-view").hidden = models;
  for (const [link, isHere] of [["to-models", models], ["to-tasks", !models]]) {
    isHere ? byId(link).setAttribute("aria-current", "page") : byId(link).removeAttribute("aria-current");
  }
}

async function refresh() {
  try {
    const [health, { nodes }, ledger, { models }, { tasks }, stats] = await Promise.all([
      ...["/health", "/v1/nodes", "/v1/ledger", "/models"].map((path) => call(path)),
      isOfModels() ? {} : call("/v1/tasks?limit=25"), isOfModels() ? call("/stats") : null]);
    showHealth(health);
    fill(byId("nodes"), ...nodes.map(nodeCard));
    showLedger(ledger);
    showBadge(models);
    if (tasks) showTasks(tasks);
    if (!stats) return;
    showModels(models, stats, nodes[0]);
    offer(models);
    showActivity(stats.recent);
  } catch (error) {
    byId("health").textContent = error instanceof TypeError ? "the server does not answer; trying again" : error.message;
    byId("health").className = "bad";
    console.warn(error);
  }
}

byId("verify").addEventListener("click", () => act(byId("verify"), async () => {
  byId("verdict").textContent = "Reading …";
  const found = await call("/v1/ledger/verification", { method: "POST" });
  byId("verdict").className = "small state " + (found.ok ? "succeeded" : "failed");
  byId("verdict").textContent = found.ok ? `Verified: ${found.entries.toLocaleString()} entries in ${found.blocks.toLocaleString()} blocks, every byte as signed.`
    : `Broken: ${found.faults.map((fault) => `line ${fault.line}: ${fault.reason}`).join("; ")}`;
}));
addEventListener("hashchange", () => { showView(); refresh(); });
document.addEventListener("changed", refresh);
showView();
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
