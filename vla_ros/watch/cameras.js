"use strict";
// The cameras' pictures, each with the age of what is on the page: that may be older than what the
// server has, and whoever looks must be told.

const OLD_PICTURE_S = 2;
const PICTURE_TIMEOUT_S = 2; // hanging ones would hold all connections a browser has for one server
const cameras = new Map(); // name -> {image, caption, seen, asked}; the two: a picture, or null
let server = null; // whose pictures these are

const nowS = () => performance.now() / 1000;

function addCamera(name) {
  const figure = document.createElement("figure");
  figure.hidden = true;
  const camera = { seen: null, asked: null, image: picture(name), caption: tag("figcaption", name) };
  camera.caption.id = `caption-${name}`;
  figure.append(camera.image, camera.caption);
  element("cameras").append(figure);
  cameras.set(name, camera);
  return camera;
}

function picture(name) {
  const image = document.createElement("img");
  image.alt = name;
  image.id = `image-${name}`;
  return image;
}

function ask(camera, name, count, ageS) {
  const image = picture(name);
  const asked = { image, count, askedS: nowS(), takenS: nowS() - ageS };
  camera.asked = asked;
  image.onload = () => {
    camera.image.replaceWith(image);
    camera.image = image;
    image.parentElement.hidden = false;
    camera.seen = asked;
    camera.asked = null;
  };
  image.onerror = () => { camera.asked = null; };
  image.src = `image/${encodeURIComponent(name)}?${server}-${count}`;
}

function giveUp(camera) {
  if (!camera.asked) return;
  const image = camera.asked.image;
  camera.asked = image.onload = image.onerror = null;
  image.src = ""; // ends its request
}

function showCameras(identity, counts, agesS) {
  if (identity !== server) { // started anew, so it counts anew
    server = identity;
    for (const camera of cameras.values()) {
      giveUp(camera);
      camera.seen = null;
      camera.caption.parentElement.hidden = true;
    }
  }
  for (const [name, count] of Object.entries(counts)) {
    const camera = cameras.get(name) || addCamera(name);
    if (camera.asked && nowS() - camera.asked.askedS > PICTURE_TIMEOUT_S) giveUp(camera);
    const isNew = count && count !== camera.seen?.count;
    if (isNew && !camera.asked) ask(camera, name, count, agesS[name]);
  }
  showAges();
}

function showAges() {
  for (const [name, camera] of cameras) {
    if (!camera.seen) continue;
    const ageS = nowS() - camera.seen.takenS;
    const old = ageS > OLD_PICTURE_S;
    camera.caption.textContent = old ? `${name}: ${ageS.toFixed(0)} s old` : name;
    camera.caption.className = old ? "bad" : "";
    camera.image.className = old ? "old" : "";
  }
}

// Nothing gets through; the state is asked for again and must not wait behind pictures.
function loseCameras() {
  for (const camera of cameras.values()) giveUp(camera);
  showAges();
}
