/* base: what every module stands on. Each header below holds one type. */
#ifndef LP_BASE_H
#define LP_BASE_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/pool.h"
#include "base/sink.h"
#include "base/slice.h"
#include "base/wheel.h"

#endif
