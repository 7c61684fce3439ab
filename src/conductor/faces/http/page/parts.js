// What every part of the page is made of: elements, words for numbers, calls of the server.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

/** Have these children and no others; those that are there already stay, with what a reader has selected in them. */
export function fill(element, ...children) {
  const fresh = [...make("div", {}, ...children).childNodes];
  fresh.forEach((child, place) => {
    const there = element.childNodes[place];
    if (!there) element.append(child);
    else if (!there.isEqualNode(child)) there.replaceWith(child);
  });
  while (element.childNodes.length > fresh.length) element.lastChild.remove();
}

export const facts = (pairs, className = "facts") => make("dl", { className },
  ...pairs.flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", {}, value)]));

export function meter(share, className = "") {
  const filled = make("i");
  if (share != null) filled.style.width = `${Math.round(100 * Math.min(share, 1))}%`;
  return make("div", { className: `meter ${className}` }, filled);
}

export const gauge = (name, value, share, className) => [
  make("div", { className: "gauge" }, make("span", { className: "soft", textContent: name }), make("span", { textContent: value })),
  meter(share, className)];

export const percent = (share) => `${Math.round(share * 100)} %`;

export function bytes(count) {
  if (count < 2 ** 30) return `${Math.max(1, Math.round(count / 2 ** 20))} MiB`;
  return `${(count / 2 ** 30).toFixed(count < 2 ** 33 ? 1 : 0)} GiB`;
}

export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  if (seconds < 3570) return seconds < 600 ? `${Math.floor(Math.round(seconds) / 60)} min ${Math.round(seconds) % 60} s` : `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.round(minutes / 1440)} days`;
}

export function ago(unixSeconds) {
  const seconds = Math.max(0, Date.now() / 1000 - unixSeconds);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.round(seconds / 3600)} h ago` : new Date(unixSeconds * 1000).toLocaleDateString();
}

export const post = (document) => ({
  method: "POST", headers: { "Content-Type": "application/json" }, body: document && JSON.stringify(document) });

/** The answer to a call; what went wrong as an error with the server's own sentence. */
export async function call(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

export const sentence = (error) => (error instanceof TypeError ? "The server does not answer." : error.message);

/** What went wrong, as a paragraph; commands between backticks can be told from the words around them. */
export const complaint = (text) => make("p", { className: "state failed told" },
  ...text.split("`").map((part, place) => (place % 2 ? make("code", { textContent: part }) : part)));

/** Do what a button stands for; it cannot be pressed again meanwhile, and what went wrong stands beside it. */
export async function act(button, work) {
  button.disabled = true;
  try { await work(); } catch (error) { button.after(make("span", { className: "state failed", textContent: sentence(error) })); }
  button.disabled = false;
}
