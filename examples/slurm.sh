#!/bin/sh
# A job for SLURM: one rank on each node, which uses all processors of that node.
#
#     sbatch --nodes 4 examples/slurm.sh --epochs 10
#
# Start it in the root of the repository, on a file system that all nodes share. The options go to the program.
# SLURM sends SIGTERM two minutes before the limit of time: all ranks then write a checkpoint and end. Submit the job
# again with --resume to go on, also on another number of nodes.

#SBATCH --job-name=tinynet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=01:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=tinynet-%j.log

set -eu

# mpiexec asks SLURM for the nodes. `exec` lets the signal reach it, and it passes the signal on to all ranks.
exec .venv/bin/mpiexec -n "$SLURM_NTASKS" .venv/bin/python examples/mnist_lstm_cnn.py \
    --out "runs/slurm" "$@"
