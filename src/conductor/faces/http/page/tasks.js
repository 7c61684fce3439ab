// The list of tasks: one row each, which opens to the decision, what came of it, and what can be done about it.

import { act, ago, byId, call, duration, facts, make, meter, percent } from "./parts.js";

const open = new Set(), rows = new Map();

/** Open the task that the address names. */
function openNamed() {
  const name = location.hash.slice(1);
  open.add(name);
  if (rows.has(name)) rows.get(name).row.open = true;
}

const interval = (estimate) => `${duration(estimate.value)} (${duration(estimate.low)} to ${duration(estimate.high)}, ${estimate.source === "history" ? "measured" : "rule of thumb"})`;

function decisionParts(task) {
  const decision = task.decision, parts = decision.parts;
  const score = (name, weight, value) => make("div", {}, make("div", { className: "soft", textContent: `${name} (${weight} %)` }), make("div", { textContent: percent(value) }), meter(value));
  const shown = [make("p", { textContent: decision.reasoning }), facts([
    ["Task", make("code", { textContent: task.task_id })],
    ["Kind", decision.task_kind.replaceAll("_", " ")],
    ["Device", decision.device === decision.available_device ? `${decision.device}, then ${decision.runner_up}`
      : `${decision.device}, then ${decision.runner_up}; none here, so ${decision.available_device}`],
    ["Duration", interval(decision.duration_s)],
    ["Priority", `${decision.priority} (${["critical", "high", "medium", "low", "low"][decision.priority - 1]})`],
    ["Confidence", percent(decision.confidence)],
  ]), make("div", { className: "parts" }, score("Similarity", 40, parts.similarity), score("Device success", 30, parts.device_success),
    score("Nodes", 20, parts.node_availability), score("Resources", 10, parts.resource_availability))];
  return shown;
}

function outcomeParts(task) {
  const outcome = task.outcome, shown = [];
  if (!outcome) return shown;
  if (task.state !== "succeeded") shown.push(make("p", { className: "state " + task.state, textContent: outcome.message }));
  if (outcome.result != null) shown.push(make("pre", { textContent: JSON.stringify(outcome.result, null, 1).slice(0, 20000) }));
  const printed = outcome.stdout_tail || outcome.stderr_tail;
  if (printed) shown.push(make("pre", { textContent: printed }));
  return shown;
}

function buttons(task, body) {
  const explain = make("button", { textContent: "Explain in full" });
  explain.addEventListener("click", () => act(explain, async () => {
    const found = await call(`/v1/tasks/${task.task_id}/explanation`);
    explain.replaceWith();
    body.append(make("pre", { textContent: found.text }));
  }));
  const row = make("div", { className: "buttons" }, explain);
  if (task.settled && task.workload) row.append(make("a", { className: "button", href: `/v1/tasks/${task.task_id}/receipt`, download: `receipt-${task.task_id}.json`, textContent: "Receipt" }));
  if (!task.settled) {
    const cancel = make("button", { className: "stop", textContent: "Cancel" });
    cancel.addEventListener("click", () => act(cancel, async () => {
      await call(`/v1/tasks/${task.task_id}/cancel`, { method: "POST" });
      document.dispatchEvent(new Event("changed"));
    }));
    row.append(cancel);
  }
  return row;
}

function taskRow(task) {
  const decision = task.decision;
  const row = make("details", { className: "task", open: open.has(task.task_id) },
    make("summary", {},
      make("span", { className: `state ${task.state}`, textContent: task.state }),
      make("span", { className: "what", textContent: task.description, title: task.description }),
      make("span", { className: "took" }),
      make("span", { className: "where soft small" }),
      make("span", { className: "expected soft small", textContent: decision && task.workload ? `expected ${duration(decision.duration_s.value)}` : "" })));
  const body = make("div", { className: "body" });
  if (task.pending_because) body.append(make("p", { textContent: `Waiting: ${task.pending_because.sentence}` }));
  if (decision) body.append(...decisionParts(task));
  body.append(...outcomeParts(task), buttons(task, body));
  row.append(body);
  row.addEventListener("toggle", () => { row.open ? open.add(task.task_id) : open.delete(task.task_id); });
  return row;
}

function tick(row, task) {
  const decision = task.decision;
  const place = decision ? (decision.device === decision.available_device ? decision.device : `${decision.device}, on ${decision.available_device}`) : "";
  row.querySelector(".where").textContent = [place, decision ? `${percent(decision.confidence)} sure` : "", ago(task.submitted_at_unix_s)].filter(Boolean).join(" · ");
  row.querySelector(".took").textContent = task.outcome ? duration(task.outcome.duration_s)
    : task.state === "running" ? `${duration(Math.max(0, Date.now() / 1000 - task.updated_at_unix_s))} …` : "";
}

/** Show these tasks; rows that say the same as before stay as they are, opened and focused ones too. */
export function showTasks(tasks) {
  if (!tasks.length) {
    byId("tasks").replaceChildren(make("div", { className: "pad" }, make("p", { textContent: "No tasks yet. Give one in plain words, with what to execute for it:" }),
      make("code", { textContent: 'conductor run "Encode this clip to H.264" -- ffmpeg -y -i clip.mkv clip.mp4' })));
    return;
  }
  const kept = tasks.map((task) => {
    const now = JSON.stringify([task.state, task.attempt, task.pending_because]), known = rows.get(task.task_id);
    const row = known && known.now === now ? known.row : taskRow(task);
    rows.set(task.task_id, { now, row });
    tick(row, task);
    return row;
  });
  const list = byId("tasks");
  if (kept.length !== list.children.length || kept.some((row, place) => list.children[place] !== row)) list.replaceChildren(...kept);
}

addEventListener("hashchange", openNamed);
openNamed();
