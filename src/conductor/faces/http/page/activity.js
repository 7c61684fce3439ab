// How much was asked and written in the last minutes.

import { byId, make } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}

const counted = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

/** Draw the tokens a second of each step. */
export function showActivity({ step_s: step, calls, errors, completion_tokens: tokens }) {
  const sum = (counts) => counts.reduce((total, count) => total + count, 0), rates = tokens.map((count) => count / step);
  if (!sum(calls) && !sum(tokens)) {
    byId("activity").replaceChildren(make("p", { className: "small", textContent: "Nothing was asked." }));
    return;
  }
  const most = Math.max(...rates), shown = (rate) => rate.toFixed(rate && rate < 10 ? 1 : 0), width = 600 / rates.length;
  const plot = drawn("svg", { viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `Tokens a second over the last ten minutes: at most ${shown(most)}, now ${shown(rates.at(-1))}` });
  plot.append(drawn("line", { x1: 0, x2: 600, y1: 99, y2: 99 }), ...rates.map((rate, place) => {
    const height = most ? 92 * rate / most : 0;
    return drawn("rect", { x: place * width + 1, y: 98 - height, width: width - 2, height });
  }));
  const ends = (...words) => make("div", { className: "ends soft small" }, ...words.map((word) => make("span", { textContent: word })));
  byId("activity").replaceChildren(ends(`at most ${shown(most)}`), plot, ends("10 min ago", "now"), make("p", { className: "small",
    textContent: `${counted(sum(calls), "call", "calls")}, ${sum(errors).toLocaleString()} failed, ${counted(Math.round(sum(tokens)), "token", "tokens")} written` }));
}
