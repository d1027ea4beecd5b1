// @imagekit/javascript 5, and the framework packages that hand its `upload` on.
import {upload} from "sdk";
import {authenticate, client, fileInput, refused, stored} from "./page.js";

client((settings, place) => {
  fileInput(place, async (file) => {
    try {
      const {token, signature, expire, publicKey} = await authenticate(settings);
      const fields = {fileName: settings.fileName, tags: ["summer", "dress"]};
      stored(await upload({file, token, signature, expire, publicKey, ...fields}));
    } catch (error) {
      refused(error);
    }
  });
});
