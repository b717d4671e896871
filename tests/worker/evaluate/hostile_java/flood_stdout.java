// expect: output_limit
class Problem {
    static long twice(long x) {
        while (true) {
            System.out.println("flood flood flood flood flood flood flood flood");
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
