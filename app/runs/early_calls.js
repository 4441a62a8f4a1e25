// What is pressed before run_client.js is there, which is a module and comes after the page. It makes these calls then.
window.runs = {
  calls: [],
  run(...values) { this.calls.push(['run', values]); },
  stop(...values) { this.calls.push(['stop', values]); },
  follow(...values) { this.calls.push(['follow', values]); },
};
