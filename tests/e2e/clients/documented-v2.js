// No SDK: the documented v2 page. It posts JSON text and lets jQuery label it as a form.
import $ from "jquery";
import {client, fileInput, refused, stored} from "./page.js";

let token = null;

client((settings, place) => {
  fileInput(place, async (file) => {
    const uploadPayload = {fileName: settings.fileName, useUniqueFileName: "true", tags: "summer,dress"};
    try {
      if (!settings.again) {
        const asked = await $.ajax({
          url: settings.auth,
          method: "POST",
          dataType: "json",
          data: JSON.stringify({uploadPayload, expire: 3600, publicKey: settings.publicKey}),
          headers: {Authorization: settings.bearer, CustomHeader: "anything"},
        });
        token = asked.token;
      }
      const form = new FormData();
      for (const [name, value] of Object.entries({file, ...uploadPayload, token})) form.append(name, value);
      stored(
        await $.ajax({
          url: "https://upload.imagekit.io/api/v2/files/upload",
          method: "POST",
          mimeType: "multipart/form-data",
          dataType: "json",
          data: form,
          processData: false,
          contentType: false,
        }),
      );
    } catch (failed) {
      refused({...failed.responseJSON, status: failed.status});
    }
  });
});
