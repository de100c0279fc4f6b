// What the page does beyond its form: preview, drop, the heat map's strength. Without scripts everything else works.
"use strict";

for (const part of document.querySelectorAll(".only-js")) part.hidden = false;

const problem = document.getElementById("problem");
if (problem) problem.focus();

const overlay = document.getElementById("overlay");
const strength = document.getElementById("strength");
if (overlay && strength) {
  const show = () => { overlay.style.opacity = strength.value / 100; };
  strength.addEventListener("input", show);
  show();
}

const form = document.getElementById("ask");
const input = document.getElementById("image");
const working = document.getElementById("working");
if (form) {
  form.addEventListener("submit", () => { working.textContent = "Scoring …"; });
  window.addEventListener("pageshow", () => { working.textContent = ""; });
}

if (input) {
  const preview = document.getElementById("preview");
  const state = document.getElementById("image-state");
  const drop = document.getElementById("drop");
  const most = Number(input.dataset.maxBytes);
  const size = (bytes) => bytes < 1048576 ? `${Math.ceil(bytes / 1024)} kB` : `${(bytes / 1048576).toFixed(1)} MB`;
  let shown = null;

  const check = () => {
    const file = input.files[0];
    if (shown) URL.revokeObjectURL(shown);
    preview.hidden = true;
    let wrong = "";
    if (file && !["image/jpeg", "image/png"].includes(file.type)) wrong = "This is not a JPEG or PNG image.";
    else if (file && file.size > most) wrong = `This file has more than ${most / 1048576} MB.`;
    input.setCustomValidity(wrong);
    state.textContent = wrong || (file ? `${size(file.size)} chosen.` : "");
    state.classList.toggle("wrong", Boolean(wrong));
    if (file && !wrong) {
      shown = URL.createObjectURL(file);
      preview.src = shown;
      preview.hidden = false;
    }
  };
  preview.addEventListener("error", () => { preview.hidden = true; });
  input.addEventListener("change", check);
  check();

  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over-it"); });
  }
  for (const kind of ["dragleave", "drop"]) {
    drop.addEventListener(kind, () => drop.classList.remove("over-it"));
  }
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      check();
    }
  });
}
