// GS_API marks what libgradsmith exports; everything else is hidden.
#pragma once
#if defined(_WIN32)
#define GS_API __declspec(dllexport)
#else
#define GS_API __attribute__((visibility("default")))
#endif

namespace gradsmith {}
namespace gs = gradsmith;  // short alias for embedders
