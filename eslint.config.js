import js from '@eslint/js';
import globals from 'globals';

// What gradio hands to the JavaScript of a component (`js_on_load`), which runs as the body of a function.
const handedOver = {element: 'readonly', props: 'readonly', trigger: 'readonly', server: 'readonly', upload: 'readonly', watch: 'readonly'};
// What app/runs/run_part.js defines for every component.
const runNames = {frame: 'writable', runBench: 'readonly', showFrame: 'readonly', onRunState: 'readonly', stopWithRun: 'readonly'};
// Files that others are put together with: what they define is for those (SCRIPTS of the component says which).
const parts = ['app/components/{clipboard,plotly_library,label_room,save_file,picture_file,elements,readings,quoted_words,step_text,swipe,playhead,roll,table_cells}.js', 'app/components/flow_map/{flow_data,flow_colours,flow_picture}.js', 'app/components/flow_view/flow_names.js', 'app/components/text_map/{text_picture,text_list}.js', 'app/components/share_link/commands.js', 'app/components/share_card/{card_run,card_layout,card_picture,card_film,card_page,gif_file}.js', 'app/components/waypoint_stage/word_origins.js', 'app/components/candidate_stage/strengths.js'];
const runPart = 'app/runs/run_part.js'; // comes before every component and may put its own `props` and `watch` in place
const modules = 'app/runs/*.js';
const page = ['app/theme/*.js'];

export default [
  {ignores: ['node_modules/', '.venv/', 'build/', 'runs/', 'data/']},
  js.configs.recommended,
  {
    rules: {
      'array-callback-return': 'error',
      'default-param-last': 'error',
      eqeqeq: 'error',
      'no-constant-binary-expression': 'error',
      'no-constructor-return': 'error',
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-self-compare': 'error',
      'no-template-curly-in-string': 'error',
      'no-throw-literal': 'error',
      'no-unmodified-loop-condition': 'error',
      'no-unreachable-loop': 'error',
      'no-unused-expressions': ['error', {allowShortCircuit: true, allowTernary: true}],
      'no-use-before-define': ['error', {functions: false, classes: false, variables: false}],
      'no-useless-assignment': 'error',
      'no-unused-vars': ['error', {ignoreRestSiblings: true}],
      'no-var': 'error',
      'prefer-const': ['error', {destructuring: 'all'}],
    },
    linterOptions: {reportUnusedDisableDirectives: 'error'},
  },
  {
    files: ['app/components/**/*.js', 'app/bench/*.js'],
    ignores: parts,
    languageOptions: {
      sourceType: 'commonjs', // a function's body: its names are its own, and it may return
      globals: {...globals.browser, ...handedOver, ...runNames},
    },
  },
  {
    files: [...parts, ...page, runPart],
    languageOptions: {sourceType: 'script', globals: {...globals.browser, ...handedOver, props: 'writable', watch: 'writable'}},
    rules: {'no-unused-vars': ['error', {vars: 'local', ignoreRestSiblings: true}], 'no-redeclare': ['error', {builtinGlobals: false}]},
  },
  {files: [modules], ignores: [runPart], languageOptions: {sourceType: 'module', globals: globals.browser}},
  {files: ['tests/js/**'], languageOptions: {globals: globals.node}},
];
