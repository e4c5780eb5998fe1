"use strict";

/**
 * Make an HTML element. Children that are strings become text, never HTML.
 *
 * @param {string} tag
 * @param {Object<string, string>} attributes
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
}

/** Let a focusable element answer to the keys named, as "ArrowLeft"; other keys keep what they do. */
function onKeys(element, actions) {
    element.addEventListener("keydown", (event) => {
        const action = actions[event.key];
        if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        action(event);
    });
}

/** Call back whenever an element comes into view or leaves it. */
function onVisible(element, callback) {
    const observer = new IntersectionObserver((entries) => callback(entries.at(-1).isIntersecting), {rootMargin: "200px"});
    observer.observe(element);
}

/** Whether all of an element is on the screen. */
function isOnScreen(element) {
    const {top, bottom} = element.getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
}
