"""Chat templates in the manner of well-known families, written for these tests."""

from __future__ import annotations

QWEN_LIKE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "You can call these functions:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1, searching=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not
           (message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last and thought %}
            {{- '<think>\\n' ~ thought.strip('\\n') ~ '\\n</think>\\n\\n' }}
        {%- endif %}
        {%- generation %}{{- content }}{%- endgeneration %}
        {%- for call in message.tool_calls or [] %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<r>\\n' + content + '\\n</r>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA_LIKE = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\nDate: " + date_string + "\\n\\n" + system + "<|eot|>" }}
{%- for message in messages %}
    {%- if message.role == 'user' and tools is not none and loop.first %}
        {{- '<|start|>user<|end|>\\n\\nFunctions:\\n\\n' }}
        {%- for t in tools %}
            {{- t | tojson(indent=4) }}
            {{- "\\n\\n" }}
        {%- endfor %}
        {{- message['content'] | trim + "<|eot|>" }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("Only one call at once!") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start|>assistant<|end|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson(sort_keys=true, separators=(',', ':')) }}
        {{- "}<|eot|>" }}
    {%- elif message.role in ["tool", "ipython"] %}
        {{- "<|start|>ipython<|end|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- else %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
"""

MISTRAL_LIKE = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- set users = rest | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in rest if message.role in ("user", "assistant") and not message.tool_calls is defined %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("Roles have to alternate: user, assistant, user, ...") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{%- macro described(tool) %}
    {%- set ns2 = namespace(parts=[]) %}
    {%- for key, value in tool.function.items() if key != "return" %}
        {%- if value is string %}
            {%- set ns2.parts = ns2.parts + ['"' ~ key ~ '": "' ~ value ~ '"'] %}
        {%- else %}
            {%- set ns2.parts = ns2.parts + ['"' ~ key ~ '": ' ~ value|tojson] %}
        {%- endif %}
    {%- endfor %}
    {{- '{' ~ ns2.parts | join(", ") ~ '}' }}
{%- endmacro %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == users[-1]) %}
            {{- "[TOOLS][" }}
            {%- for tool in tools %}
                {{- described(tool) }}
                {%- if not loop.last %}{{- ", " }}{%- endif %}
            {%- endfor %}
            {{- "][/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system is defined %}
            {{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] %s[/INST]" % message["content"] }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS][" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {{- ', "id": "' + call.id[-9:] + '"}' }}
            {%- if loop.last %}{{- "]" + eos_token }}{%- else %}{{- ", " }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim|replace("  ", " ") + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- "[RESULT]{}[/RESULT]".format(message.content) }}
    {%- else %}
        {{- raise_exception("Unknown role: " ~ message.role) }}
    {%- endif %}
{%- endfor %}
"""

BLOCKS_LIKE = """\
{# blocks of lines, whose white space counts #}
{% set greeting %}
Hello {{ bos_token }}
{% endset %}
{{ greeting | indent(2, first=true) }}
{% for message in messages %}
  {% if message.role == 'user' %}
  {{ loop.index }}. {{ message.content|capitalize }} ({{ loop.cycle('odd', 'even') }})
    {% continue %}
  {% endif %}
  {% if loop.index > 5 %}{% break %}{% endif %}
\t{{ message.role|upper }}: {{ message['content']|default('nothing', true) }}
{% else %}
nobody spoke
{% endfor %}
{{ messages|map(attribute='role')|unique|join('+') }} {{ messages|groupby('role')|map('first')|list }}
{{ {'b': 1, 'a': [1.5, none, true, "<é&'>"]} | tojson(indent=2, sort_keys=true, ensure_ascii=true) }}
{{ messages[0].nothing }}{{ undefined_name }}{{ 7 // 2 ** 2 * "ab" }}{{ 3 * 1.5 }}{{ 10 % 4 }}
{{ "%05.1f|%s|%d" % (2.345, "x", 7) }} {{ "{0:>5}|{b}".format("a", b=2) }} {{ "a,b"|string|length }}
{{ range(3)|list }}{{ dict(a=1) }}{{ [3, 1, 2]|sort|reverse|list }} {{ 2.567|round(1) }} {{ "x"|e }}
{{ ('a', 1)[0] }} {{ "<"|e }}
{% macro twice(text) %}{{ text }}{{ text }}{{ caller() if caller }}{% endmacro %}
{% call twice("n") %}!{% endcall %}{{ twice("m") }}
{%- for name, value in {'x': 1, 'y': 2}|dictsort(reverse=true) %}{{ name }}{{ value }}{% endfor %}
{%- for item in [[1, [2, [3]]], [4]] recursive %}{{ item if item is number else loop(item) }};{% endfor %}
"""

ALL = {"qwen": QWEN_LIKE, "llama": LLAMA_LIKE, "mistral": MISTRAL_LIKE, "blocks": BLOCKS_LIKE}
