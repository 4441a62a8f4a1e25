// Room for the labels of a picture, none of which covers another. A box is {x, y, half, high} in pixels: its centre, half
// its width and half its height.
class LabelRoom {
  // font: a family. width, height: of the picture; a label beyond them has no room in `take`.
  constructor(font, width = Infinity, height = Infinity) {
    LabelRoom.pen ??= document.createElement('canvas').getContext('2d');  // one for all rooms: a drawing has one or two
    Object.assign(this, {font, width, height, taken: [], pen: LabelRoom.pen});
  }

  // Half the width and half the height of a text; a guess where nothing can be measured.
  measure(text, size, weight = 400) {
    if (!this.pen) return {half: text.length * size * 0.27 + 4, high: size * 0.65};
    this.pen.font = weight + ' ' + size + 'px ' + this.font;
    return {half: this.pen.measureText(text).width / 2 + 4, high: size * 0.65};
  }

  keep(box) { this.taken.push(box); }

  // How much of what stands there already a box would cover, in square pixels.
  covered(box) {
    return this.taken.reduce((sum, other) => sum + Math.max(0, box.half + other.half - Math.abs(box.x - other.x)) * Math.max(0, box.high + other.high - Math.abs(box.y - other.y)), 0);
  }

  holds({x, y, half, high}) { return x - half >= 0 && x + half <= this.width && y - high >= 0 && y + high <= this.height; }

  // The index of the first of these boxes that covers nothing, which is kept; where there is none, -1, or where a label is
  // needed the one that covers least.
  take(boxes, needed = false) {
    const costs = boxes.map(box => needed || this.holds(box) ? this.covered(box) : Infinity), least = Math.min(...costs);
    if (least > 0 && !needed) return -1;
    const index = costs.indexOf(least);
    this.keep(boxes[index]);
    return index;
  }
}
