// expect: out_of_memory
// One allocation of 16 GiB.
class Problem {
    static long twice(long x) {
        return new long[Integer.MAX_VALUE - 8].length;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
