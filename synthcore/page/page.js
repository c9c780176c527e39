// One sound at a time, and a line that shows where it is. Without this script the browser's own players are shown.
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
