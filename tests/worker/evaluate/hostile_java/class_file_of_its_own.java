// expect: sandbox_violation
// A class file of its own, loaded from /tmp: URLClassLoader.newInstance asks no permission, and the class's rights
// come from the policy. Evil.run() is `System.setSecurityManager(null)`.
import java.io.FileOutputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.Base64;

class Problem {
    static long twice(long x) {
        String evil =
                "yv66vgAAADcAEwoAAgADBwAEDAAFAAYBABBqYXZhL2xhbmcvT2JqZWN0AQAGPGluaXQ+AQADKClWCgAIAAkHAAoMAA" +
                        "sADAEAEGphdmEvbGFuZy9TeXN0ZW0BABJzZXRTZWN1cml0eU1hbmFnZXIBAB4oTGphdmEvbGFuZy9TZWN1cml0eU1h" +
                        "bmFnZXI7KVYHAA4BAARFdmlsBwAQAQASamF2YS9sYW5nL1J1bm5hYmxlAQAEQ29kZQEAA3J1bgAhAA0AAgABAA8AAA" +
                        "ACAAEABQAGAAEAEQAAABEAAQABAAAABSq3AAGxAAAAAAABABIABgABABEAAAARAAEAAQAAAAUBuAAHsQAAAAAAAA==";
        try {
            try (FileOutputStream file = new FileOutputStream("/tmp/Evil.class")) {
                file.write(Base64.getDecoder().decode(evil));
            }
            URLClassLoader loader = URLClassLoader.newInstance(new URL[] {new URL("file:/tmp/")});
            ((Runnable) loader.loadClass("Evil").getDeclaredConstructor().newInstance()).run();
        } catch (java.io.IOException | ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
