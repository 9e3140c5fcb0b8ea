'use strict';
// Configuration objects as YAML, in the plain block style that a person would write.

function scalar(value) {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return JSON.stringify(String(value)); // a double-quoted YAML scalar
}

function isEmpty(value) {
  return value === null || (typeof value === 'object' && Object.keys(value).length === 0);
}

function toYaml(value, indent = '') {
  if (Array.isArray(value)) {
    return value.map((item) => {
      if (typeof item !== 'object') return `${indent}- ${scalar(item)}\n`;
      return `${indent}- ${toYaml(item, `${indent}  `).slice(indent.length + 2)}`;
    }).join('');
  }
  return Object.entries(value).filter(([, item]) => item !== undefined).map(([key, item]) => {
    if (isEmpty(item)) return `${indent}${key}: ${Array.isArray(item) ? '[]' : '{}'}\n`;
    if (typeof item !== 'object') return `${indent}${key}: ${scalar(item)}\n`;
    return `${indent}${key}:\n${toYaml(item, `${indent}  `)}`;
  }).join('');
}

module.exports = { toYaml };
