"""The recipes that come with the package: one YAML file a system or variant; see ``overtone.recipe``."""
