// The one place where the version is written; pyproject.toml and CMake read it from here.
#pragma once
#define GRADSMITH_VERSION "0.1.0"
