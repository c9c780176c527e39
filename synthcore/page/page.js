// One sound at a time, a line that shows where it is, and commands to copy. Without this script the browser's own
// players are shown, and the commands as text.
"use strict";
document.documentElement.classList.add("scripted");
let playing = null;
for (const clip of document.querySelectorAll(".clip")) {
  const audio = clip.querySelector("audio");
  const button = clip.querySelector(".play");
  const head = clip.querySelector(".head");
  const follow = () => {
    head.style.left = `${(100 * audio.currentTime) / (audio.duration || 1)}%`;
    if (!audio.paused) requestAnimationFrame(follow);
  };
  button.addEventListener("click", () => {
    if (!audio.paused) return audio.pause();
    if (playing && playing !== audio) playing.pause();
    playing = audio;
    audio.currentTime = 0;
    return audio.play();
  });
  audio.addEventListener("play", () => {
    button.setAttribute("aria-pressed", "true");
    clip.classList.add("playing");
    follow();
  });
  for (const end of ["pause", "ended"]) {
    audio.addEventListener(end, () => {
      button.setAttribute("aria-pressed", "false");
      clip.classList.remove("playing");
    });
  }
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(code); // where a browser lets no page copy, it is one key away
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      button.textContent = "press Ctrl-C";
    }
  });
}
