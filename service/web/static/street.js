// A drawn street, for those who have no photograph at hand. Nobody's picture, so nobody's licence.

const WIDTH = 960;
const HEIGHT = 320;

/** @returns {Promise<Blob>} a PNG of a street, drawn anew. */
export function drawStreet() {
  const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  const horizon = 145;
  const vanish = WIDTH / 2;
  const shape = (colour, ...points) => {
    context.fillStyle = colour;
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.fill();
  };
  const sky = context.createLinearGradient(0, 0, 0, horizon);
  sky.addColorStop(0, "#6fa8dc");
  sky.addColorStop(1, "#e8f1f8");
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, horizon);
  shape("#6b7a4b", [0, horizon], [WIDTH, horizon], [WIDTH, HEIGHT], [0, HEIGHT]);
  shape("#9a978f", [vanish, horizon], [WIDTH + 180, HEIGHT], [-180, HEIGHT]);
  shape("#55575b", [vanish, horizon], [WIDTH - 120, HEIGHT], [120, HEIGHT]);
  // Marks on the road, at even distances.
  for (let metres = 5; metres < 60; metres += 6) {
    const y = (z) => horizon + 620 / z;
    const half = (z) => 40 / z;
    shape("#e9e9e4", [vanish - half(metres), y(metres)], [vanish + half(metres), y(metres)], [vanish + half(metres + 3), y(metres + 3)], [vanish - half(metres + 3), y(metres + 3)]);
  }
  const house = (side, near, far, tall, colour) => {
    const x = (z) => vanish + (side * 2600) / z;
    const top = (z) => horizon - tall / z;
    const foot = (z) => horizon + 620 / z;
    shape(colour, [x(near), top(near)], [x(far), top(far)], [x(far), foot(far)], [x(near), foot(near)]);
    for (let window = 0; window < 5; window += 1) {
      const a = near + ((far - near) * (window + 0.25)) / 5;
      const b = near + ((far - near) * (window + 0.7)) / 5;
      for (const [low, high] of [[0.15, 0.4], [0.55, 0.8]]) {
        shape("#2f3b46", [x(a), horizon - (tall * high) / a], [x(b), horizon - (tall * high) / b], [x(b), horizon - (tall * low) / b], [x(a), horizon - (tall * low) / a]);
      }
    }
  };
  house(-1, 26, 60, 2600, "#b9a78f");
  house(-1, 14, 25, 2000, "#a05a4a");
  house(-1, 5.5, 13, 2300, "#d4c6a6");
  house(1, 30, 60, 2300, "#8d98a3");
  house(1, 7, 28, 2700, "#c2b49c");
  const car = (x, z, colour) => {
    const size = 620 / z;
    const foot = horizon + size;
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.fillRect(x - 0.62 * size, foot - 0.06 * size, 1.24 * size, 0.12 * size);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x - 0.55 * size, foot - 0.62 * size, 1.1 * size, 0.52 * size, 0.1 * size);
    context.roundRect(x - 0.42 * size, foot - 0.95 * size, 0.84 * size, 0.4 * size, 0.12 * size);
    context.fill();
    context.fillStyle = "#22303c";
    context.fillRect(x - 0.34 * size, foot - 0.88 * size, 0.68 * size, 0.24 * size);
    context.fillStyle = "#16181a";
    for (const wheel of [-0.48, 0.32]) context.fillRect(x + wheel * size, foot - 0.18 * size, 0.16 * size, 0.18 * size);
    context.fillStyle = "#c4372b";
    for (const lamp of [-0.53, 0.41]) context.fillRect(x + lamp * size, foot - 0.52 * size, 0.12 * size, 0.1 * size);
  };
  car(vanish + 60, 16, "#d8dade");
  car(vanish + 190, 6.2, "#27496d");
  for (const [x, z] of [[vanish - 330, 7], [vanish + 400, 6], [vanish - 120, 22]]) {
    const size = 620 / z;
    context.fillStyle = "#4a3a2c";
    context.fillRect(x - 0.05 * size, horizon + size - 2.6 * size, 0.1 * size, 2.6 * size);
    for (let leaf = 0; leaf < 260; leaf += 1) {
      const turn = leaf * 2.399963;
      const out = Math.sqrt(leaf / 260) * 0.85 * size;
      context.fillStyle = `hsl(${95 + (leaf % 7) * 4} 38% ${20 + (leaf % 11) * 2}%)`;
      context.beginPath();
      context.arc(x + out * Math.cos(turn), horizon + size - 2.9 * size + out * Math.sin(turn), 0.12 * size, 0, 7);
      context.fill();
    }
  }
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
