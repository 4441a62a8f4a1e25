// A recipe as something to run elsewhere: a script of Python, a command of a shell.

const LONGEST_HOLE = 2;         // tokens, where a recipe that fills holes does not say
const MOST_ARGUMENT = 120000;   // bytes of an argument; Linux takes 131,072

// A script that runs the recipe. JSON's way to write a string is one of Python's.
function pythonScript(recipe) {
  const filled = JSON.parse(recipe).operation === 'fill';
  const rows = filled
    ? ['    for rank, found in enumerate(getattr(event, "candidates", ()), 1):', '        print(rank, f"(misfit {found.misfit:.2f})", found.text)']
    : ['    texts = getattr(event, "texts", texts)  # so far'];
  return [
    '# Runs where the Python package coladlm is installed.',
    'from coladlm import ColaDLM',
    'from coladlm.recipe import Recipe',
    'from coladlm.run import check_model, run',
    '',
    'recipe = Recipe.from_json(',
    '    ' + JSON.stringify(recipe),
    ')',
    'model = ColaDLM.from_pretrained()  # the bundled model; or a folder, or a repository of the Hub',
    'print(check_model(model, recipe) or "The model of the recipe.")',
    ...filled ? [] : ['texts = []'],
    'for event in run(model, recipe):',
    ...rows,
    ...filled ? [] : ['print(*texts, sep="\\n\\n")'],
    '',
  ].join('\n');
}

// A command that has the server at `base` run the recipe: /v1/completions where it takes it as it is, else /replay, whose
// answer gradio gives under a number. api: what that endpoint takes and whether it asks for a key, null where there is
// none. Throws for a recipe that is too long.
function curlCommand(json, base, api) {
  const recipe = JSON.parse(json);
  const post = (path, body, headers = '') => {
    const data = JSON.stringify(body, null, 1);
    if (bytes(data) > MOST_ARGUMENT) throw new Error('the texts are too long for a command, save the recipe');
    return `curl -sS ${quoted(new URL(path, base).href)} -H 'Content-Type: application/json' ${headers}-d ${quoted(data)}`;
  };
  if (api && isCompletion(recipe, api)) {
    const key = api.key ? '-H "Authorization: Bearer $COLADLM_API_KEY" ' : '';
    return post('v1/completions', completion(recipe), key) + '\n';
  }
  const path = 'gradio_api/call/replay';
  return `run=$(${post(path, {data: [recipe]})} | cut -d '"' -f 4)\ncurl -sSN ${quoted(new URL(path + '/', base).href)}"$run"\n`;
}

// The body of /v1/completions that says the same. Every setting is in it: the server's own may be others. Where a prompt
// has holes, max_tokens is of one of them.
function completion(recipe) {
  const {max_new_tokens, ...settings} = recipe.settings;
  const {longest, steered = '', ...options} = recipe.options;
  const length = recipe.operation === 'fill' ? longest ?? LONGEST_HOLE : max_new_tokens;
  const texts = recipe.texts.map(text => text + steered);
  const prompt = texts.length === 1 ? texts[0] : texts;
  return {prompt, n: recipe.variations, max_tokens: length, ...settings, ...options};
}

// A token has at least one byte: what has few enough bytes has few enough tokens.
function isCompletion(recipe, api) {
  const {longest, steered = '', ...options} = recipe.options;
  const fits = recipe.operation === 'fill' ? (longest ?? LONGEST_HOLE) <= 16 : recipe.settings.max_new_tokens <= api.new_tokens;
  const taken = api.options[recipe.operation];
  return taken && Object.keys(options).every(name => taken.includes(name)) && fits
    && recipe.texts.length <= api.texts && recipe.variations <= api.variations
    && recipe.settings.steps <= api.steps && recipe.texts.every(text => bytes(text + steered) <= api.prompt);
}

function bytes(text) {
  return new TextEncoder().encode(text).length;
}

// A word of the shell, in which nothing has a meaning of its own.
function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}
