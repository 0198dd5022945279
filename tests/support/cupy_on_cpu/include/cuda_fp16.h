// Half precision is not computed here: CuPy's headers only need the file.
#pragma once
