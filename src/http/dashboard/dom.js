// Elements, made and filled without markup in text.

/** Clones a template, and returns its one element with its parts, each under its `data-part`. */
export function clone(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  return { root, ...parts(root) };
}

/** Finds the parts below an element. */
export function parts(root) {
  return Object.fromEntries(Array.from(root.querySelectorAll("[data-part]"), (part) => [part.dataset.part, part]));
}

/** Makes an element. Children are elements or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Sets an element's text, and hides it if there is none. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

/**
 * Sets an element's children, which are elements or text, and hides it if there are none. If they are equal to those that
 * it has, these stay, with their focus and selection.
 */
export function fill(element, content) {
  const given = content.filter((part) => part !== "");
  const children = given.map((part) => (part instanceof Node ? part : new Text(part)));
  const same =
    element.childNodes.length === children.length &&
    children.every((child, index) => element.childNodes[index].isEqualNode(child));
  if (!same) element.replaceChildren(...children);
  element.hidden = children.length === 0;
}

/** Shows elements in an order, and no others. Those that are in place are not touched. */
export function arrange(list, elements) {
  const shown = new Set(elements);
  for (const element of Array.from(list.children)) if (!shown.has(element)) element.remove();
  let at = list.firstElementChild;
  for (const element of elements) {
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  }
}

/** Makes a link, or text where the address is none that a browser should follow. */
export function link(text, address) {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") return make("span", {}, text);
  return make("a", { href: url.href, rel: "noopener noreferrer", target: "_blank" }, text);
}
