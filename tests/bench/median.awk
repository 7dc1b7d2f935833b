# SPDX-License-Identifier: Apache-2.0
#
# Values of several rounds by what they were measured of, and their medians. Goes before the tables (awk -f ... -f ...).

function add(key, value)
{
    values[key, ++count[key]] = value
}

# 0 where there are none.
function median(key,   n, i, j, v, t)
{
    n = count[key]
    if (!n)
        return 0
    for (i = 1; i <= n; i++)
        v[i] = values[key, i]
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
            t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
        }
    return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
