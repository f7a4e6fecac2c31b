for (const place of document.querySelectorAll("[data-cast]")) {
  const cast = JSON.parse(document.getElementById(place.dataset.cast).textContent);
  AsciinemaPlayer.create({data: cast}, place, {fit: "width", idleTimeLimit: 2, preload: true, terminalFontFamily: "ui-monospace, monospace"});
}
