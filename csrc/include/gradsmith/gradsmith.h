// All of the C++ interface.
#pragma once
#include "gradsmith/autograd.h"
#include "gradsmith/dims.h"
#include "gradsmith/dtype.h"
#include "gradsmith/error.h"
#include "gradsmith/export.h"
#include "gradsmith/grad_mode.h"
#include "gradsmith/ops.h"
#include "gradsmith/tensor.h"
#include "gradsmith/threads.h"
#include "gradsmith/version.h"
#include "gradsmith/view.h"
